"""One stage a file: a protocol, its real backend and its scripted one. Stages never import each other."""
