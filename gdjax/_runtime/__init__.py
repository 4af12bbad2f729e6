"""What every part of gdjax may use: files that are written as a whole, arrays in one file."""
