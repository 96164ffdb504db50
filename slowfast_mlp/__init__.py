"""slowfast_mlp: training and testing of attention-free video backbones."""
