"""The evaluation protocol: which frames and motions are drawn, what they are compared with, and the tables of it."""
