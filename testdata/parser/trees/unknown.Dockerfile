FROM base
WHATEVER --flag a b
more
