"""What lowered modules call where torch's own operators leave time on the table.

Each file is one value, written out as algebra, with the gradient that costs least. Under
`torch.compile` and `torch.export` each is plain torch, which the compiler fuses better.
"""
