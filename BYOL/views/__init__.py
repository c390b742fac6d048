"""Two random views of every image, drawn per sample and applied to a whole batch on its device.

``config`` holds the augmentation settings, ``sample_params`` draws the parameters of each image,
``ops`` and ``crop_resize`` apply them as tensor operations, ``cpu`` and ``cpu_kernels`` apply them
as compiled loops, ``pipeline`` combines these, and ``transforms`` is the specification's interface.
``pixels``, ``pixel_range`` and ``colour`` turn the values of any image into 8-bit pixels.
"""
