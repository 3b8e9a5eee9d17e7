FROM base
RUN one \
    two \
  # a comment between
    three
RUN four\
five \ 	
   six
RUN ends with two \\
USER seven
RUN trailing \
