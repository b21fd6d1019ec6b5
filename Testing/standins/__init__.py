"""What takes the place of the application in tests."""
