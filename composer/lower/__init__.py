"""Graph to `torch.fx.GraphModule`; torch begins here."""
