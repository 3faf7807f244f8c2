"""A photo on its way from disk to working pixels: header, EXIF orientation, mask, undistortion, downscaling."""
