"""How sure a figure is. Two questions are kept apart.

*About these trained models* (``resampling``): would their order hold on other videos? Videos are
drawn with replacement, the clips of one staying together, and corpus figures recomputed from
sufficient statistics (``avbench.evaluation.statistics.sufficient``). CIDEr's document frequencies
stay those of the whole reference set, as they belong to the metric and not to the sample. Nothing
is said about other seeds: with several, the models are those that were trained.

*About the methods* (``seeds``): would the order hold if the rows were trained again? Each seed
gives one difference between rows, over the whole test set; Student's t tells what these few say
of their mean. The test set is taken as it is. A percentile bootstrap over so few seeds would be
wrong (a test has it cover 75 % over three seeds, 83 % over five), and one seed says nothing, as
do seeds that all give the same difference.

Where a table or a list asks several questions at once, ``holm`` corrects them together.
"""
