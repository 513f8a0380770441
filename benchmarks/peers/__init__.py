"""The other generators: each is installed or built from package registries and started like our own callers."""
