"""The page of `prep report`: one HTML file that shows an output whole and loads nothing from anywhere.

samples   which rows the viewer holds          sections  the parts of the page, each a function to plain values
charts    the geometry of bars and curves      templates/  the markup: page.html, and a file for each part
page.css, page.js   inlined; the policy in the head allows these two by their hash and nothing else
"""
