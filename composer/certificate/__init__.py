"""The certificate: a spec beside its paper, with oracles that know nothing of Composer."""
