"""Files from the network: HTTP, downloads, archives, the Hugging Face Hub, decompression."""
