"""What the browser asks for over plain HTTP while a page stands still: pixels, readings, and where marks go."""
