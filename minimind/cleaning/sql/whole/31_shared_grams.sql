-- one row is a 13-gram that a training document shares with the holdout or an evaluation file, of those looked at in it
with training_grams as (
    select number, unnest(grams) as gram
    from splits
    join catalogue using (number)
    join gram_samples using (text_key)
    where split = 'train' and number not in (select number from unfit_documents)
)
select number, gram, holdout_documents
from training_grams
join reference_grams using (gram)
