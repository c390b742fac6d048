"""A run as one HTML page that needs nothing else: no network, no server, no other file.

``facts`` reads a run's folder; ``curves`` its logs, ``meaning`` says how to read them; ``verdict``
puts the evidence into a sentence; ``look`` shows the backbone some pictures, ``gallery``,
``scatter`` and ``confusion`` are made of what it saw, ``thumbnails`` are the pictures themselves;
``charts`` are curves as geometry; ``page`` and ``compare`` put it all into ``templates``.
"""
