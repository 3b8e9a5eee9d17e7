FROM base
CMD echo shell
