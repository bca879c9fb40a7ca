"""What lowered modules call where torch's own operators leave time on the table.

Each file is one value, written out as algebra, with the gradient that costs least. Under
`torch.compile` and `torch.export` each is plain torch, which the compiler fuses better.

To whatever overrides torch's functions each is one function, as `torch.nn.functional`'s are: a
symbolic trace writes one node for it, and subclasses of tensors and modes are called with it.
"""
