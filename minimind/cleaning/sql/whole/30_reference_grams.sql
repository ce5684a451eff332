-- one row is a 13-gram of the holdout or of an evaluation file, with the holdout documents that have it
with reference_texts as (
    select texts.text, true as of_holdout
    from splits
    join catalogue using (number)
    join texts using (text_key)
    where split = 'holdout' and number not in (select number from unfit_documents)
    union all
    select text, false from evaluation_texts
),
grams as (
    select of_holdout, unnest(run_set_of(text, 13, $all_words)) as gram
    from reference_texts
)
select gram, count(*) filter (where of_holdout) as holdout_documents
from grams
group by gram
