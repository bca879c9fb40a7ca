"""A MODEL string to an `nn.Module`."""
