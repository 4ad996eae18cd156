//! Rankings, criteria, datasets: what a person said about answers. No GPU.
