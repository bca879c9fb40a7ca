"""What a model is made of, learnt from the model itself."""
