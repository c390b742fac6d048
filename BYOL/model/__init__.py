"""Networks, predictors and the loss: backbones by name, heads, normalization, weights in and
out."""
