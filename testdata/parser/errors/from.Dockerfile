FROM
FROM a b
FROM a AS
FROM a as 1st
FROM a AS b c
FROM a AS b/c
