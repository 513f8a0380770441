"""What happens to clean speech on its way to the agent: noise, room, distortion, channel. Samples in, samples out."""
