"""MODEL string to `nn.Module`; and the anatomy of a backbone, learnt from itself."""
