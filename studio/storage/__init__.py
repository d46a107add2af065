"""What is kept on disk: images and their requests, uploaded pictures, the index, infotext. No torch."""
