"""Networks, predictors and the loss: backbones, heads, normalization, and weights in and out."""
