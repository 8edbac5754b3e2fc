"""Write ``digits.npz``: 700 of the handwritten digits that scikit-learn ships.

They are the test part of the UCI data set "Optical Recognition of Handwritten Digits" (Alpaydin and
Kaynak 1998, CC BY 4.0), 8 x 8 numbers from 0 to 16.

    python make_digits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

COUNT = 700

if __name__ == "__main__":
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))[:COUNT]
    images = digits.images[order].astype(np.uint8)
    labels = digits.target[order].astype(np.uint8)
    np.savez_compressed(Path(__file__).with_name("digits.npz"), images=images, labels=labels)
