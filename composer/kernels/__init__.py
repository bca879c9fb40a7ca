"""Functions that lowered modules call where torch's own operators are slow.

Each file is one function, stated as algebra, with its cheapest gradient. Under `torch.compile` and
`torch.export` each is plain torch, which the compiler fuses better.

Each supports overriding like the functions of `torch.nn.functional`: a symbolic trace records one
node for it, and tensor subclasses and modes are called with it.
"""
