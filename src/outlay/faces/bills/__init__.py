"""Where bills come from: files, buckets and other addresses, and the providers' own cost APIs."""
