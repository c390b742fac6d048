"""Where pictures come from: built in, folders, arrays, torchvision's sets. uint8 comes out.

``sources`` turns what the user said into ``images``; ``decode`` reads files, ``memory`` takes small
sets into memory, ``loading`` makes batches. No network and no loss is known here.
"""
