"""Read: bytes in, records out, with file, line and byte offset; nothing is decoded here. Version 1.

discover(spec) -> paths
scan(path)     -> Chunk, Chunk, ..., FileInfo      in the parent: cuts, hashes, decompresses
records(chunk) -> [Record, ...]                    in a worker: fetches its range of the file
"""
