"""Generated messages and stubs of the contract; `make gen` writes what is below."""
