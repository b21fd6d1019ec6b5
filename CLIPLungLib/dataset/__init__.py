"""What networks learn from: nodules with ratings or outcomes, their images, and patches cut from them."""
