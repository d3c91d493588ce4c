"""The book: what an operation is, how it is applied, what is remembered, and how derivatives flow.

Read in this order: primitive, node, box, reverse, careful, forward, symbol. README.md beside this
file is the guide.
"""
