FROM		baseASx
 	 RUN	a


   # indented comment
 USER u
