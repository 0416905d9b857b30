"""Sightline's work without its screen: images in, readings, training, prediction, comparison.

Coordinate and shape conventions, used in names everywhere:

- arrays are ``yx`` (image), ``zyx`` (volume) or ``tyx`` (frames in time), with channels last at rest;
- ``spacing_mm`` follows the array's axes, so a volume has (z, y, x);
- ``affine_lps`` maps a voxel index written (x, y, z, 1), that is column, row, slice, to patient
  millimetres in DICOM's LPS frame (x to the left, y to the back, z to the head).
"""
