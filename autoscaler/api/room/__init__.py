"""The control room: pages for people, made on the server and kept up to date by a small script.

`pages` makes a page from a template, `session` keeps who signed in, `live` tells open pages what changed. Every other
module is one page. Whatever a page shows, a browser without scripts shows too; the script only keeps it fresh.
"""
