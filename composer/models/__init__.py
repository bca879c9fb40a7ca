"""From a MODEL string to an `nn.Module`."""
