FROM base as Build
from build AS x
Run y
user z
COPY a /b
