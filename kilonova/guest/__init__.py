"""The image of the guest that a cloud is proven with."""
