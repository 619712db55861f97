"""quantize, the ops that are fused with it and those that it fuses."""
