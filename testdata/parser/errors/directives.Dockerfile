# escape=x
# check=skpi=all
# escape=`
FROM base
