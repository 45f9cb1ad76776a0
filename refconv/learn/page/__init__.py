"""The page: one HTML file in which every number of a convolution can be looked into.

``build`` puts it together from the files beside it: modules of plain JavaScript (js/), a style
sheet, the words in English and Chinese, the presets. Nothing is fetched, by the build or the page.
"""
