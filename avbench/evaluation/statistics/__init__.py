"""The uncertainty of figures. Two questions are kept apart.

*About these trained models* (``videos``): would their order hold on other videos? Videos are left
out or exchanged with all their clips, and corpus figures are recomputed from sufficient statistics
(``avbench.evaluation.statistics.sufficient``). A difference is significant if approximate
randomisation says so; intervals are Student's t by the jackknife. Fewer than ten videos, or videos
without a spread, give no interval but a reason. CIDEr's document frequencies stay those of the
whole reference set, because they belong to the metric and not to the sample. The answer does not
extend to other seeds: the models are the trained ones, even if there are several.

*About the methods* (``seeds``): would the order hold if the rows were trained again? Each seed
gives one difference between rows over the whole, fixed test set, and Student's t gives the
interval of their mean. A percentile bootstrap over so few seeds would be wrong: in a test it
covers 75 % over three seeds and 83 % over five. One seed gives no interval, and neither do seeds
with equal differences.

``holm`` corrects the questions of one table or list together.
"""
