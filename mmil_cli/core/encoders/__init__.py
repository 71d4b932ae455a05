"""Image encoders give a feature map, text encoders a vector for each sentence."""
