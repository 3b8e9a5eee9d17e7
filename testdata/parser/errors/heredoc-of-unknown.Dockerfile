FROM base
RUNN <<EOF
echo
ls
EOF
USR u
