"""What stands between the network and the server: hosts, origins, tokens, sizes, rates."""
